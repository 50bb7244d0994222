"""Pictures read back."""

import matplotlib.image


def drawn(path):
    """Return the picture, at least 600 pixels wide and not of one colour."""
    picture = matplotlib.image.imread(path)
    assert picture.shape[1] > 600 and picture.std() > 0.01
    return picture
