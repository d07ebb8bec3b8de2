"""Dataset adapters: what one kind of example gives to batches, one file a kind, named by a system's `trains_on`.

`Dataset(path, folder, regions)` reads a set once (folder: for what must be kept aside; regions: of its pictures, for a system that
reads those) and has
    index                      where its pictures lie, and how many examples were left out and why
    count                      how many texts it holds
    words()                    texts that a vocabulary can be learned from
    split(share)               rows to learn from and rows held out, by the content of their pictures
    loader(tokens, config, feed, rows, training, workers)    its batches for a system with that config
"""
