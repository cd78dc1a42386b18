"""A BERT or RoBERTa becomes a YOSO: its weights carried over, its attention fitted.

    adopt          a folder and texts -> a YOSO model's folder          adopting.py
    read_source    the folder read, or refused with the reason          sources.py
                   what other families call their weights               families.py
    read_texts     texts as packed tokens, some of them held out        texts.py
    Original       the encoder with softmax attention                   original.py
    fit            output projections by ridge regression               fitting.py, anchors.py
    heads          what carries over exactly, what is fitted            heads.py
    compare        the new model beside the original                    comparing.py

All of it is linear algebra over `yosort.ops`: nothing is trained by gradients.
"""
