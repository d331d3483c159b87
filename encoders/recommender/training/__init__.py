"""How recommenders are trained, which needs torch (the extra ``compress``)."""
