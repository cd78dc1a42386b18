"""A BERT or RoBERTa becomes a YOSO: its weights carried over, its attention fitted.

    adopt          a folder and texts -> a YOSO model's folder          adopting.py
    read_source    the folder read, or refused with the reason          sources.py
                   what other families call their weights               families.py
    read_texts     texts as packed tokens, some of them held out        texts.py
    Original       the encoder with softmax attention                   original.py
    fit            layer after layer                                    fitting.py
                   queries and keys: by a few steps downhill            matching.py
                   values: an anchor that keeps their length            anchors.py
    heads          what carries over exactly, what is fitted            heads.py
    compare        the new model beside the original                    comparing.py

All of it is linear algebra over NumPy and `yosort.ops`; nothing is trained end to end.
"""
