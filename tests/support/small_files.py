"""Small binary files that no library here can write: a HEIC photo, and a network with the outputs of a face detector."""

from __future__ import annotations

import base64
import zlib


def _unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


HEIC = _unpacked(
    "eNpdUTtLA0EQns2ReIovfEAUCQkIipWBCJZBYyPkP3hu7sjAnVkuh0QsoiKCYGFlI6IiiGAhIoKx0kpJY2cpFmLhA2wEBXWdvZwiDrc7M998s3v7DQD0"
    "WN6MyJvIgcxBK6liBw0LgF06pmdAzRL5nO0GMQjkHvyzFNoF/5BMGkLAVMSeap5siDCyUOIX6aU1jDhl+ZmqdlJi+jTi5Kd5Ev6ATFHGSujTmwV6DgRM"
    "VofCFRTfo+AF8tPUO8o0Ba36pNgLfHy+vQG0aBPUEU2zRialImiKoakvdhpKG1QcGGHsX2UrPh9ee7jbrZzo+cE4QZraIDFJ9EiGnRfPlumSdl6w3Slu"
    "lwhtgsgcQR1YFGbw3HSw+rltiCBWUsQD74sgpbwNxGgVWEIFarquk6tHt+DR/0AXCudnKAxYZD6khReXKOlG17SCQjPPFbk/BnW24eQMNa9kPzton7vf"
    "mz2SrzcNsnq8+b6+vS+vF1Ll+hX5mAr3fa1Wdp6jF59LG8/jV9XDMjVFaqJnszBAmQ6MtSld1Ntrd30D4rdycw=="
)
"""64 × 32 px as stored, its upper left quarter's left half red, all else blue; both its box and its EXIF say that it is to be
turned by a quarter clockwise, as phones write it."""

YUNET_STAND_IN = _unpacked(
    "eNrtWEtLw0AQzrbbNoyiaRAfqAj1IOTWBES8WD1GelFPXsS0Oah90QdIT/0Prfde/Aee9a+5O7Np+oggKCh0P1iY9Eu+bGd2Jztj5k5fXTiCzEOj1eva"
    "rF6Aq7Daq4Tl8L7hrIP5FIat6kO9s22MWQrywOrA+2G7abN+IV3u1WALspVKrXN3AqxvZ9AqpM+rVdiBHBLFY8lkyZylPHdCeS5RUq4ZPCo5tOJn5KWS"
    "I3OWUnJkxlQQNJ9JL0smUbtgEkWKOWXPkaSZU3Y8x6dW9JfRit8mL9UcyZyl1BzJRMrmnW4vcNYsdoGe9bkh4AxTJjNLJhM/Kwf7g5Sx5HCuhVMsdEq0"
    "uPzSj0UPhSifEvVc34pIz+ucLcYD16WOx2w8aEv+cjxoMyfEY2RiPDjeRfvaH5iGhobG8iaklxRmJJkWJp93nagN5wZz6pRbRFL9TqaWyfZsu138yF8O"
    "3xdUhxuYhAE/ingQ8gcbehVqaGhoaGhoaCzZWXOUwTM4YGlOTTB/kNGO0fjTZfnGsAaKl6Uogcbsv0/79iBqzm+CqLZsC0SFK0ZajJIcwS5Q2922wRI3"
    "rKobJMmCPVCd9znWmmY9d47lyAphbHR+JUwNv6+EqXOXKCxY6tglKPNgH6JefIJ0TCdqczlpLEQTpEG+mPJRgvKETRSGCw6GtfIJW7bKeA=="
)
"""ONNX with YuNet's inputs and outputs at 64 × 64 px. Its answer does not depend on the image: one face of 16 × 24 px around
(16, 48) with confidence 0.95."""
