"""What order.py tries, by name. One factor at a time where two names share a letter; see order_protocol.md."""

from dataclasses import replace

from audio_tokens.engine.codebook.slices import SliceConfig
from audio_tokens.engine.sound.view_config import ViewConfig
from benchmarks.studies.order import ESC, FOLDS, Study, Tokens

DEFAULT = Tokens()
STRIDE_1 = Tokens(slices=SliceConfig(stride=1))
EIGHT = Tokens(slices=SliceConfig(contexts=(8,)))
K_1000 = Tokens(clusters=(1000,))
FINE = Tokens(slices=SliceConfig(contexts=(2, 4, 8), stride=1), clusters=(1000, 1000, 1000))
FULL, LOW, MID, HIGH, TOP = (0, 64), (0, 20), (14, 34), (28, 48), (42, 64)
WORD_VIEWS = ViewConfig(count=3, speed=0.12, gain_db=0, tilt_db=2, noise_db=25, roll=False)
SPEECH = Tokens(  # 10 ms a frame, 20 ms a position; two contexts of all bands, four ranges of bands of 80 ms
    mel="speech16k",
    slices=SliceConfig(contexts=(4, 8, 8, 8, 8, 8), stride=2, bands=(FULL, FULL, LOW, MID, HIGH, TOP)),
    clusters=(1000, 1000, 500, 500, 500, 500),
)
SPEECH_STRIDE_1 = replace(SPEECH, slices=replace(SPEECH.slices, stride=1))
SPEECH_MEL22K = replace(SPEECH, mel="mel22k")
SPEECH_MEL22K_STRIDE_1 = replace(SPEECH_STRIDE_1, mel="mel22k")
SPEECH_LONG = replace(SPEECH, slices=replace(SPEECH.slices, contexts=(8, 16, 16, 16, 16, 16)))
SPEECH_HALF_K = replace(SPEECH, clusters=tuple(k // 2 for k in SPEECH.clusters))
SPEECH_TWICE_K = replace(SPEECH, clusters=tuple(k * 2 for k in SPEECH.clusters))
SPEECH_LONG_TWICE_K = replace(SPEECH_LONG, clusters=SPEECH_TWICE_K.clusters)
SPEECH_LONG_VIEWS = replace(SPEECH_LONG, views=WORD_VIEWS)
SPEECH_K = {k: Tokens(mel="speech16k", clusters=(k,)) for k in (200, 5000)}  # 40 ms of all bands, as SPEECH's stream 0
SPEECH_VIEWS = replace(SPEECH, views=WORD_VIEWS)
ALL = (0, 1, 2, 3, 4, 5)
SEQUENCE = {
    "epochs": 12,
    "batch_clips": 64,
    "learning_rate": 3e-3,
    "width": 96,
    "dropout": 0.3,
    "pooling": "attention",
    "label_smoothing": 0.1,
}
CONVS = SEQUENCE | {"convolutions": 2}
VIEWED = CONVS | {"epochs": 20, "mask": 0.1}
MIXED = {"mix": 0.5, "mix_kind": "embeddings", "average": "ema"}
SOUND = Tokens(
    slices=SliceConfig(contexts=(4, 16), stride=2, whiten_variance=0.99), clusters=(500, 200), views=ViewConfig(count=7)
)
SOUND_BANDS = Tokens(
    slices=SliceConfig(
        contexts=(4, 16, 8, 8, 8, 8), stride=2, whiten_variance=0.99, bands=(FULL, FULL, LOW, MID, HIGH, TOP)
    ),
    clusters=(500, 200, 300, 300, 300, 300),
    views=ViewConfig(count=7),
)
TWO = (0, 1)
SOUND_LSTM = {
    "epochs": 40,
    "dropout": 0.4,
    "pooling": "attention",
    "convolutions": 2,
    "mix": 0.5,
    "mix_kind": "embeddings",
    "mask": 0.1,
    "roll": True,
    "label_smoothing": 0.1,
}
CNN = {"epochs": 20, "batch_clips": 64, "label_smoothing": 0.1, "mask": 0.1}
BERT = {
    "epochs": 20,
    "batch_clips": 64,
    "learning_rate": 1e-3,
    "width": 96,
    "dropout": 0.1,
    "label_smoothing": 0.1,
    "convolutions": 2,
    "mask": 0.1,
}

ESC_BAG = Study(sounds=ESC, tokens=SOUND, streams=TWO, top=4, score_views=True)
ESC_LSTM = replace(ESC_BAG, system="token-lstm", options=SOUND_LSTM)
ESC_CNN = Study(
    sounds=ESC, tokens=SOUND, score_views=True, system="raw-cnn", options=CNN | {"epochs": 40, "mix": 0.5, "roll": True}
)
CROPS = {"epochs": 80, "batch_clips": 32, "crop": 0.5, "roll": True, "weight_decay": 0.05, "average": "ema"}
ESC_CNN_CROPS = replace(ESC_CNN, options=CNN | CROPS | {"mix": 0.5, "dropout": 0.3})

STUDIES = {
    "a-default": Study(tokens=DEFAULT),
    "a-default-soft": Study(tokens=DEFAULT, top=4),
    "a-stride1": Study(tokens=STRIDE_1),
    "a-k1000": Study(tokens=K_1000),
    "a-8": Study(tokens=EIGHT),
    "b-2": Study(tokens=FINE, streams=(0,)),
    "b-4": Study(tokens=FINE, streams=(1,)),
    "b-8": Study(tokens=FINE, streams=(2,)),
    "b-2-8": Study(tokens=FINE, streams=(0, 2)),
    "b-2-8-soft": Study(tokens=FINE, streams=(0, 2), top=4),
    "b-4-soft": Study(tokens=FINE, streams=(1,), top=4),
    "b-8-soft": Study(tokens=FINE, streams=(2,), top=4),
    "b-2-4-8-soft": Study(tokens=FINE, streams=(0, 1, 2), top=4),
    "c-4": Study(tokens=SPEECH, streams=(0,)),
    "c-4-8-soft": Study(tokens=SPEECH, streams=(0, 1), top=4),
    "c-bands": Study(tokens=SPEECH, streams=(2, 3, 4, 5)),
    "c-bands-soft": Study(tokens=SPEECH, streams=(2, 3, 4, 5), top=4),
    "c-all-soft": Study(tokens=SPEECH, streams=ALL, top=4),
    "c-all": Study(tokens=SPEECH, streams=ALL),
    "c-all-top2": Study(tokens=SPEECH, streams=ALL, top=2),
    "c-stride1": Study(tokens=SPEECH_STRIDE_1, streams=ALL, top=4),
    "c-mel22k": Study(tokens=SPEECH_MEL22K, streams=ALL, top=4),
    "c-mel22k-stride1": Study(tokens=SPEECH_MEL22K_STRIDE_1, streams=ALL, top=4),
    "c-long": Study(tokens=SPEECH_LONG, streams=ALL, top=4),
    "c-half-k": Study(tokens=SPEECH_HALF_K, streams=ALL, top=4),
    "c-twice-k": Study(tokens=SPEECH_TWICE_K, streams=ALL, top=4),
    "d-lstm-all": Study(tokens=SPEECH, streams=ALL, top=4, system="token-lstm", options=CONVS),
    "d-lstm-all-shuffled": Study(tokens=SPEECH, streams=ALL, top=4, system="token-lstm", options=CONVS, shuffled=True),
    "c-long-twice-k": Study(tokens=SPEECH_LONG_TWICE_K, streams=ALL, top=4),
    "d-lstm-all-centroids": Study(
        tokens=SPEECH, streams=ALL, top=4, system="token-lstm", options=CONVS | {"embedding": "centroids"}
    ),
    "d-lstm-long": Study(tokens=SPEECH_LONG, streams=ALL, top=4, system="token-lstm", options=CONVS),
    "d-lstm-contexts": Study(tokens=SPEECH, streams=(0, 1), top=4, system="token-lstm", options=CONVS),
    "d-lstm-plain": Study(tokens=SPEECH, streams=ALL, top=4, system="token-lstm", options=SEQUENCE),
    "e-lstm-views": Study(tokens=SPEECH_VIEWS, streams=ALL, top=4, system="token-lstm", options=VIEWED),
    "e-bag-views": Study(tokens=SPEECH_VIEWS, streams=ALL, top=4),
    "e-lstm-mix": Study(tokens=SPEECH_VIEWS, streams=ALL, top=4, system="token-lstm", options=VIEWED | MIXED),
    "e-lstm-mix-centroids": Study(
        tokens=SPEECH_VIEWS,
        streams=ALL,
        top=4,
        system="token-lstm",
        options=VIEWED | MIXED | {"embedding": "centroids"},
    ),
    "e-bag-long": Study(tokens=SPEECH_LONG_VIEWS, streams=ALL, top=4),
    "e-lstm-long": Study(tokens=SPEECH_LONG_VIEWS, streams=ALL, top=4, system="token-lstm", options=VIEWED | MIXED),
    "e-lstm-mix-shuffled": Study(
        tokens=SPEECH_VIEWS, streams=ALL, top=4, system="token-lstm", options=VIEWED | MIXED, shuffled=True
    ),
    "e-bert-views": Study(tokens=SPEECH_VIEWS, streams=ALL, top=4, system="token-bert", options=BERT),
    "e-bert-centroids": Study(
        tokens=SPEECH_VIEWS, streams=ALL, top=4, system="token-bert", options=BERT | {"embedding": "centroids"}
    ),
    "e-lstm-mix-centroids-shuffled": Study(
        tokens=SPEECH_VIEWS,
        streams=ALL,
        top=4,
        system="token-lstm",
        options=VIEWED | MIXED | {"embedding": "centroids"},
        shuffled=True,
    ),
    "e-cnn-views": Study(tokens=SPEECH_VIEWS, system="raw-cnn", options=CNN),
    "r-cnn": Study(tokens=SPEECH, system="raw-cnn", options=CNN),
    "r-cnn-decoded-all": Study(tokens=SPEECH, streams=ALL, system="raw-cnn", options=CNN, decoded=True),
    "r-cnn-decoded-4-8": Study(tokens=SPEECH, streams=(0, 1), system="raw-cnn", options=CNN, decoded=True),
    "r-cnn-decoded-4": Study(tokens=SPEECH, streams=(0,), system="raw-cnn", options=CNN, decoded=True),
    **{f"r-cnn-decoded-k{k}": Study(tokens=SPEECH_K[k], system="raw-cnn", options=CNN, decoded=True) for k in SPEECH_K},
    **{f"r-lstm-k{k}": Study(tokens=SPEECH_K[k], system="token-lstm", options=CONVS) for k in SPEECH_K},
    **{f"r-lstm-k{k}-soft": Study(tokens=SPEECH_K[k], top=4, system="token-lstm", options=CONVS) for k in SPEECH_K},
    **{f"r-bag-k{k}-soft": Study(tokens=SPEECH_K[k], top=4) for k in SPEECH_K},
    "r-lstm-4": Study(tokens=SPEECH, system="token-lstm", options=CONVS),
    "r-lstm-4-soft": Study(tokens=SPEECH, top=4, system="token-lstm", options=CONVS),
    "r-lstm-4-8": Study(tokens=SPEECH, streams=(0, 1), system="token-lstm", options=CONVS),
    "r-lstm-all": Study(tokens=SPEECH, streams=ALL, system="token-lstm", options=CONVS),
    "r-bag-4-soft": Study(tokens=SPEECH, top=4),
    "e-lstm-views-shuffled": Study(
        tokens=SPEECH_VIEWS, streams=ALL, top=4, system="token-lstm", options=VIEWED, shuffled=True
    ),
    "i-default": Study(sounds=ESC, tokens=DEFAULT),
    "i-default-soft": Study(sounds=ESC, tokens=DEFAULT, top=4),
    "i-stride1": Study(sounds=ESC, tokens=STRIDE_1),
    "i-k1000": Study(sounds=ESC, tokens=K_1000),
    "i-8": Study(sounds=ESC, tokens=EIGHT),
    "i-4-16": Study(sounds=ESC, tokens=replace(SOUND, views=ViewConfig()), streams=TWO),
    "i-4-16-soft": Study(sounds=ESC, tokens=replace(SOUND, views=ViewConfig()), streams=TWO, top=4),
    "i-all-soft": Study(sounds=ESC, tokens=replace(SOUND_BANDS, views=ViewConfig()), streams=ALL, top=4),
    "s-bag": ESC_BAG,
    "s-lstm": ESC_LSTM,
    "s-bag-bands": replace(ESC_BAG, tokens=SOUND_BANDS, streams=ALL),
    "s-pairs": replace(ESC_BAG, tokens=SOUND_BANDS, streams=ALL, system="token-pairs"),
    "s-pairs-shuffled": replace(ESC_BAG, tokens=SOUND_BANDS, streams=ALL, system="token-pairs", shuffled=True),
    "s-lstm-bands": replace(ESC_LSTM, tokens=SOUND_BANDS, streams=ALL),
    "s-lstm-crops": replace(ESC_LSTM, tokens=SOUND_BANDS, streams=ALL, options=SOUND_LSTM | CROPS),
    "s-cnn": ESC_CNN,
    "s-cnn-crops": ESC_CNN_CROPS,
    **{f"t-cnn-{fold}": replace(ESC_CNN_CROPS, sounds=f"{ESC}/{fold}") for fold in FOLDS},
    "s-cnn-decoded": replace(ESC_CNN, streams=TWO, decoded=True),
    "s-rocket": replace(ESC_BAG, system="token-rocket"),
    "s-lstm-long": replace(ESC_LSTM, options=SOUND_LSTM | {"epochs": 80}),
    "s-lstm-shuffled": replace(ESC_LSTM, shuffled=True),
}
