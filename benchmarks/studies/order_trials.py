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
BY_VIEWS = {
    floor: replace(
        SPEECH,
        slices=replace(SPEECH.slices, whiten_by="views", whiten_variance=1.0, whiten_floor=floor),
        compared=WORD_VIEWS,
    )
    for floor in (0.03, 0.01)
}
BY_VIEWS_95 = replace(BY_VIEWS[0.03], slices=replace(BY_VIEWS[0.03].slices, whiten_variance=0.95))
SPEECH_K = {k: Tokens(mel="speech16k", clusters=(k,)) for k in (200, 5000)}  # 40 ms of all bands, as SPEECH's stream 0
SPEECH_VIEWS = replace(SPEECH, views=WORD_VIEWS)
ALL, TWO, RANGES = (0, 1, 2, 3, 4, 5), (0, 1), (2, 3, 4, 5)
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
CENTROIDS = {"embedding": "centroids"}
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
SOUND_BY_VIEWS = replace(
    SOUND_BANDS,
    slices=replace(SOUND_BANDS.slices, whiten_by="views", whiten_variance=1.0, whiten_floor=0.03),
    views=ViewConfig(),
    compared=ViewConfig(count=2, roll=False),
)
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
BAG = Study(tokens=SPEECH, streams=ALL, top=4)
LSTM = replace(BAG, system="token-lstm", options=CONVS)
VIEWED_BAG = replace(BAG, tokens=SPEECH_VIEWS)
VIEWED_LSTM = replace(VIEWED_BAG, system="token-lstm", options=VIEWED)
MIXED_LSTM = replace(VIEWED_LSTM, options=VIEWED | MIXED)
MIXED_LSTM_CENTROIDS = replace(MIXED_LSTM, options=VIEWED | MIXED | CENTROIDS)
BY_VIEWS_LSTM = replace(MIXED_LSTM_CENTROIDS, tokens=replace(BY_VIEWS_95, views=WORD_VIEWS))
VIEWED_BERT = replace(VIEWED_BAG, system="token-bert", options=BERT)
MEL_CNN = Study(tokens=SPEECH, system="raw-cnn", options=CNN)

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
    "c-4": replace(BAG, streams=(0,), top=1),
    "c-4-8-soft": replace(BAG, streams=TWO),
    "c-bands": replace(BAG, streams=RANGES, top=1),
    "c-bands-soft": replace(BAG, streams=RANGES),
    "c-all-soft": BAG,
    "c-all": replace(BAG, top=1),
    "c-all-top2": replace(BAG, top=2),
    "c-stride1": replace(BAG, tokens=SPEECH_STRIDE_1),
    "c-mel22k": replace(BAG, tokens=SPEECH_MEL22K),
    "c-mel22k-stride1": replace(BAG, tokens=SPEECH_MEL22K_STRIDE_1),
    "c-long": replace(BAG, tokens=SPEECH_LONG),
    "c-half-k": replace(BAG, tokens=SPEECH_HALF_K),
    "c-twice-k": replace(BAG, tokens=SPEECH_TWICE_K),
    "c-long-twice-k": replace(BAG, tokens=SPEECH_LONG_TWICE_K),
    **{f"c-by-views-{floor}": replace(BAG, tokens=BY_VIEWS[floor]) for floor in BY_VIEWS},
    "c-by-views-0.03-95": replace(BAG, tokens=BY_VIEWS_95),
    "d-lstm-all": LSTM,
    "d-lstm-all-shuffled": replace(LSTM, shuffled=True),
    "d-lstm-all-centroids": replace(LSTM, options=CONVS | CENTROIDS),
    "d-lstm-by-views": replace(LSTM, tokens=BY_VIEWS[0.03], options=CONVS | CENTROIDS),
    "d-lstm-long": replace(LSTM, tokens=SPEECH_LONG),
    "d-lstm-contexts": replace(LSTM, streams=TWO),
    "d-lstm-plain": replace(LSTM, options=SEQUENCE),
    "e-lstm-views": VIEWED_LSTM,
    "e-lstm-views-shuffled": replace(VIEWED_LSTM, shuffled=True),
    "e-bag-views": VIEWED_BAG,
    "e-lstm-mix": MIXED_LSTM,
    "e-lstm-mix-shuffled": replace(MIXED_LSTM, shuffled=True),
    "e-lstm-mix-centroids": MIXED_LSTM_CENTROIDS,
    "e-lstm-mix-centroids-shuffled": replace(MIXED_LSTM_CENTROIDS, shuffled=True),
    "e-bag-by-views": replace(VIEWED_BAG, tokens=BY_VIEWS_LSTM.tokens),
    "e-lstm-by-views": BY_VIEWS_LSTM,
    "e-lstm-by-views-shuffled": replace(BY_VIEWS_LSTM, shuffled=True),
    "e-bert-by-views": replace(VIEWED_BERT, tokens=BY_VIEWS_LSTM.tokens, options=BERT | CENTROIDS),
    "e-bag-long": replace(BAG, tokens=SPEECH_LONG_VIEWS),
    "e-lstm-long": replace(MIXED_LSTM, tokens=SPEECH_LONG_VIEWS),
    "e-bert-views": VIEWED_BERT,
    "e-bert-centroids": replace(VIEWED_BERT, options=BERT | CENTROIDS),
    "e-cnn-views": replace(MEL_CNN, tokens=SPEECH_VIEWS),
    "r-cnn": MEL_CNN,
    "r-cnn-decoded-all": replace(MEL_CNN, streams=ALL, decoded=True),
    "r-cnn-decoded-4-8": replace(MEL_CNN, streams=TWO, decoded=True),
    "r-cnn-decoded-4": replace(MEL_CNN, decoded=True),
    **{f"r-cnn-decoded-k{k}": replace(MEL_CNN, tokens=SPEECH_K[k], decoded=True) for k in SPEECH_K},
    **{f"r-lstm-k{k}": replace(LSTM, tokens=SPEECH_K[k], streams=(0,), top=1) for k in SPEECH_K},
    **{f"r-lstm-k{k}-soft": replace(LSTM, tokens=SPEECH_K[k], streams=(0,)) for k in SPEECH_K},
    **{f"r-bag-k{k}-soft": replace(BAG, tokens=SPEECH_K[k], streams=(0,)) for k in SPEECH_K},
    "r-lstm-4": replace(LSTM, streams=(0,), top=1),
    "r-lstm-4-soft": replace(LSTM, streams=(0,)),
    "r-lstm-4-8": replace(LSTM, streams=TWO, top=1),
    "r-lstm-all": replace(LSTM, top=1),
    "r-bag-4-soft": replace(BAG, streams=(0,)),
    "i-default": Study(sounds=ESC, tokens=DEFAULT),
    "i-default-soft": Study(sounds=ESC, tokens=DEFAULT, top=4),
    "i-stride1": Study(sounds=ESC, tokens=STRIDE_1),
    "i-k1000": Study(sounds=ESC, tokens=K_1000),
    "i-8": Study(sounds=ESC, tokens=EIGHT),
    "i-4-16": Study(sounds=ESC, tokens=replace(SOUND, views=ViewConfig()), streams=TWO),
    "i-4-16-soft": Study(sounds=ESC, tokens=replace(SOUND, views=ViewConfig()), streams=TWO, top=4),
    "i-all-soft": Study(sounds=ESC, tokens=replace(SOUND_BANDS, views=ViewConfig()), streams=ALL, top=4),
    "i-by-views": Study(sounds=ESC, tokens=SOUND_BY_VIEWS, streams=ALL, top=4),
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
