"""One target a decoder: any bytes in, a value or the one documented refusal out, never another exception.

hypothesis runs every target in the suite, on a small profile. atheris runs one for as long as you like:

    pip install atheris            # CPython 3.11
    python tests/fuzz/fuzz_jws.py -max_total_time=3600
"""
