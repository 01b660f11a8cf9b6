"""What models are shown: quantities derived by physics, windows and lags, operating states.

All are sklearn transformers: they take pandas frames with named columns and name what they give
(`get_feature_names_out`). Only workers and commands import this package.
"""
