import shutil, pytest
def need(p):
    return shutil.which(p) or pytest.skip(p)
