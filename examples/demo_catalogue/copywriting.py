"""What each kind of product is, is made of and is praised for. Colours and patterns are for the picture alone."""

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from examples.demo_catalogue import accessories, clothing, home
from examples.demo_catalogue.canvas import Canvas
from examples.demo_catalogue.palette import RGB

Draw = Callable[[Canvas, Image.Image, RGB], None]

BRANDS = (
    "Nordwell",
    "Casa Brio",
    "Hartmoor",
    "Lumen & Loft",
    "Pikku",
    "Oakridge",
    "Marisol",
    "Tidewater",
    "Fennel",
    "Arlo",
)
NAMES = (
    *("Alma", "Bruno", "Clara", "Dario", "Elsa", "Fjord", "Greta", "Hugo", "Iris", "Juno", "Kaia", "Lino"),
    *("Mira", "Nilo", "Otto", "Petra", "Quinn", "Rosa", "Sven", "Tilda", "Uma", "Vera", "Wilma", "Yara", "Zeno"),
)


@dataclass(frozen=True)
class Kind:
    """One kind of product. `materials` and `features` are halves of sentences."""

    name: str
    prefix: str  # of ids and article numbers
    draw: Draw
    category: tuple[str, ...]
    price: tuple[float, float]
    materials: tuple[str, ...]
    features: tuple[str, ...]
    patterned: bool = True  # leather and steel come plain


_WEAR, _HOME = ("Clothing",), ("Home",)
_COTTON = ("organic cotton", "soft jersey", "cotton and linen", "brushed cotton", "bamboo fibre")
_CLAY = ("stoneware", "porcelain", "glazed earthenware", "bone china", "fine ceramic")

KINDS: tuple[Kind, ...] = (
    Kind("T-shirt", "TS", clothing.t_shirt, (*_WEAR, "Tops", "T-shirts"), (14, 35), _COTTON,
         ("keeps its shape wash after wash", "has a crew neck and a relaxed fit", "sits lightly on warm days")),
    Kind("shirt", "SH", clothing.shirt, (*_WEAR, "Tops", "Shirts"), (29, 75), _COTTON,
         ("has a chest pocket and a full row of buttons", "irons in a minute", "goes from desk to dinner")),
    Kind("dress", "DR", clothing.dress, (*_WEAR, "Dresses"), (39, 120), ("viscose crêpe", "linen", "cotton voile"),
         ("has a fitted waist and a swinging skirt", "has two hidden pockets", "was made for summer evenings")),
    Kind("trousers", "TR", clothing.trousers, (*_WEAR, "Bottoms", "Trousers"), (35, 95), ("stretch twill", "linen", "cotton drill"),
         ("have deep pockets and a straight leg", "stay comfortable on long journeys", "are cut high in the waist")),
    Kind("jacket", "JK", clothing.jacket, (*_WEAR, "Outerwear", "Jackets"), (69, 220), ("recycled nylon", "waxed cotton", "softshell"),
         ("keeps out wind and drizzle", "has zipped pockets and ribbed cuffs", "packs into its own pocket")),
    Kind("skirt", "SK", clothing.skirt, (*_WEAR, "Bottoms", "Skirts"), (29, 80), ("pleated crêpe", "linen", "light wool"),
         ("moves with every step", "has a side fastening and a lining", "ends just above the knee")),
    Kind("cap", "CP", clothing.cap, (*_WEAR, "Hats", "Caps"), (12, 32), ("cotton twill", "recycled polyester"),
         ("adjusts at the back", "shades the eyes on the run", "has stitched air holes")),
    Kind("sun hat", "HT", clothing.sun_hat, (*_WEAR, "Hats", "Sun hats"), (18, 55), ("paper straw", "cotton canvas"),
         ("has a wide brim", "rolls up for the suitcase", "stays on in the wind")),
    Kind("trainers", "SN", clothing.sneaker, (*_WEAR, "Shoes", "Trainers"), (45, 130), ("canvas", "knitted mesh", "suede"),
         ("have a cushioned sole", "weigh next to nothing", "grip on wet pavements")),
    Kind("ankle boots", "BT", clothing.boot, (*_WEAR, "Shoes", "Boots"), (79, 210), ("full-grain leather", "nubuck"),
         ("lace up at the front", "have a sturdy block heel", "are lined against the cold"), patterned=False),
    Kind("handbag", "HB", accessories.handbag, ("Bags", "Handbags"), (49, 190), ("vegan leather", "waxed canvas"),
         ("closes with a metal clasp", "holds a book and a bottle", "has an inner pocket for the phone")),
    Kind("backpack", "BP", accessories.backpack, ("Bags", "Backpacks"), (39, 120), ("recycled polyester", "canvas"),
         ("has a padded sleeve for a laptop", "carries eighteen litres", "has two bottle pockets")),
    Kind("suitcase", "SC", accessories.suitcase, ("Bags", "Luggage"), (89, 260), ("polycarbonate", "recycled ABS"),
         ("rolls silently on four wheels", "fits the cabin of most airlines", "locks with three digits")),
    Kind("wallet", "WL", accessories.wallet, ("Bags", "Wallets"), (19, 70), ("vegan leather", "cork leather"),
         ("holds eight cards and coins", "closes with a press stud", "slips into a front pocket")),
    Kind("umbrella", "UM", accessories.umbrella, ("Accessories", "Umbrellas"), (18, 60), ("pongee", "recycled polyester"),
         ("opens at a touch", "stands firm in a gale", "has a curved wooden handle")),
    Kind("watch", "WT", accessories.watch, ("Accessories", "Watches"), (59, 240), ("stainless steel", "brushed steel"),
         ("has a clear dial that is read at a glance", "is waterproof to fifty metres", "runs three years on a battery")),
    Kind("scarf", "SF", accessories.scarf, ("Accessories", "Scarves"), (18, 85), ("merino wool", "modal", "lambswool"),
         ("is long enough to wrap twice", "ends in soft fringes", "does not scratch")),
    Kind("mug", "MG", home.mug, (*_HOME, "Kitchen", "Mugs"), (9, 24), _CLAY,
         ("keeps coffee warm", "holds 350 millilitres", "fits the hand as if made for it")),
    Kind("teapot", "TP", home.teapot, (*_HOME, "Kitchen", "Teapots"), (24, 65), _CLAY,
         ("pours without a drop going astray", "brings a sieve for loose leaves", "serves four")),
    Kind("bowl", "BW", home.bowl, (*_HOME, "Kitchen", "Bowls"), (9, 32), _CLAY,
         ("takes a generous helping of ramen", "goes from oven to table", "stacks with its sisters")),
    Kind("plate", "PL", home.plate, (*_HOME, "Kitchen", "Plates"), (8, 28), _CLAY,
         ("frames every dish", "has a raised rim", "survives the dishwasher for years")),
    Kind("water bottle", "WB", home.bottle, (*_HOME, "Kitchen", "Bottles"), (15, 39), ("insulated steel", "powder-coated steel"),
         ("keeps drinks cold for a day", "does not leak in the bag", "fits bicycle cages")),
    Kind("vase", "VS", home.vase, (*_HOME, "Decoration", "Vases"), (16, 70), _CLAY,
         ("flatters a single twig", "was thrown by hand", "stands steady on the windowsill")),
    Kind("table lamp", "LP", home.lamp, (*_HOME, "Lighting", "Table lamps"), (35, 140), ("turned ash and linen", "oak and cotton"),
         ("gives a warm, even light", "dims at a touch", "looks well beside the bed")),
    Kind("wall clock", "CL", home.clock, (*_HOME, "Decoration", "Clocks"), (19, 75), ("powder-coated metal", "lacquered wood"),
         ("runs without a tick", "is read from across the room", "hangs on a single nail"), patterned=False),
    Kind("chair", "CH", home.chair, (*_HOME, "Furniture", "Chairs"), (79, 240), ("bouclé and beech", "woven wool and oak"),
         ("has a deep, upholstered seat", "tucks under any table", "is assembled in ten minutes")),
    Kind("sofa", "SO", home.sofa, (*_HOME, "Furniture", "Sofas"), (399, 1290), ("woven wool", "cotton velvet", "linen blend"),
         ("seats three with room to stretch", "has covers that come off for washing", "has sprung cushions")),
    Kind("cushion", "CU", home.cushion, (*_HOME, "Textiles", "Cushions"), (14, 45), ("linen", "cotton velvet", "washed cotton"),
         ("is plump without being stiff", "has a hidden zip", "brings a tired armchair back to life")),
    Kind("rug", "RG", home.rug, (*_HOME, "Textiles", "Rugs"), (59, 320), ("flat-woven wool", "recycled cotton", "jute blend"),
         ("lies flat from the first day", "is soft under bare feet", "is finished with fringes")),
    Kind("bath towels", "BA", home.towel, (*_HOME, "Textiles", "Towels"), (16, 60), ("combed cotton", "waffle cotton"),
         ("come as a set of three", "dry quickly", "grow softer with every wash")),
)  # fmt: skip

CLOSINGS = (
    "Made in small batches.",
    "A favourite gift.",
    "Designed to last for years.",
    "Sent in plastic-free packaging.",
    "Two-year guarantee.",
)
