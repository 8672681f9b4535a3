// A photograph made small: the model looks at fewer pixels still, and a telephone's would go out whole.

const PICTURES = new Set(["image/jpeg", "image/png", "image/webp"]); // that the service reads

// A JPEG of any picture that the browser can read, its longer side of at most `longest` pixels, or the file itself where
// that is as good; null if it is no picture.
export async function small(file, longest) {
  const asItIs = PICTURES.has(file.type) ? file : null;
  try {
    const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
    const scale = Math.min(1, longest / Math.max(bitmap.width, bitmap.height));
    if (asItIs && scale === 1) return file;
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(scale * bitmap.width));
    canvas.height = Math.max(1, Math.round(scale * bitmap.height));
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.fillStyle = "white"; // behind what is transparent
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    const jpeg = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.9));
    return jpeg ? new File([jpeg], file.name, { type: jpeg.type }) : asItIs;
  } catch {
    return asItIs; // the service says what is wrong with it
  }
}
