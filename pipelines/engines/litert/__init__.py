"""LiteRT (``ai-edge-litert``): ``.tflite`` models, quantised ones too, in processes of their own."""
