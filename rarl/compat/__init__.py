"""Every use of a private function, method or attribute of torch and TRL.

Nothing else in `rarl` names one, and tests/test_compat.py says which has changed where a library
is updated. Gradio's are in `demo.compat`. `rarl.compat.torch` does not load TRL.
"""
