"""How an encoder is made small; all that needs torch is here (the extra ``compress``)."""
