"""From raw catalogue data to training data: `python -m training.prepare`.

    read → translate → caption → clean → split → write        (`all` runs them in a row)
    events                                                    (the service's click log → pairs, negatives, a test)

Each step keeps what it found in one SQLite file, the job, so that none holds a data set in memory and each can be run
again by itself. What was paid for is kept apart, in the answers file, by content: no step asks for it twice.

The recipe is the seed's (https://github.com/Yali998/tianchi_multimodal): translate the texts, describe the pictures,
then clean and check both, and drop what is empty, double or broken together with all that speaks of it.
"""
