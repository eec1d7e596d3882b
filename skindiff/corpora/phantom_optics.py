"""The colour of phantom skin: reflectance from melanin and haemoglobin content, at three wavelengths.

A two-layer model. Light crosses the epidermis (absorbed by melanosomes), is scattered back by a
semi-infinite dermis (absorbed by blood) and crosses the epidermis again. Red, green and blue are the
reflectances at 610, 550 and 465 nm, near the dominant wavelengths of the sRGB primaries.

Sources: S. L. Jacques, "Skin Optics", Oregon Medical Laser Center News, 1998 (baseline absorption,
melanosome absorption 6.6e11 wavelength^-3.33 per cm, melanosome volume fractions 1.3-6.3% in light,
11-16% in moderate and 18-43% in dark skin, blood 150 g/l); S. L. Jacques, "Optical properties of
biological tissues: a review", Phys. Med. Biol. 58 R37, 2013 (reduced scattering of skin
46 (wavelength/500 nm)^-1.421 per cm); S. Prahl, "Tabulated molar extinction coefficient for hemoglobin in
water", 1998; T. J. Farrell, M. S. Patterson, B. Wilson, Med. Phys. 19, 1992 (diffuse reflectance, matched
boundary).
"""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

WAVELENGTHS_NM = np.array([610.0, 550.0, 465.0])

MELANOSOME_FRACTION: dict[str, tuple[float, float]] = {
    "I": (0.020, 0.045),
    "II": (0.045, 0.075),
    "III": (0.075, 0.110),
    "IV": (0.110, 0.160),
    "V": (0.180, 0.280),
    "VI": (0.300, 0.430),
}
"""Range of the epidermal melanosome volume fraction per Fitzpatrick type.

The outer limits are Jacques's (1998) light, moderate and dark ranges; the cuts between I, II and III are
ours, placed so that the ITA of the resulting colours falls in the usual classes.
"""

_EPIDERMIS_CM = 0.006
_DOUBLE_PASS = 2.0
_SPECULAR = 0.02
_BASELINE = 0.244 + 85.3 * np.exp(-(WAVELENGTHS_NM - 154.0) / 66.2)
_MELANOSOME = 6.6e11 * WAVELENGTHS_NM**-3.33
_OXYHAEMOGLOBIN = np.array([1506.0, 43016.0, 38845.0])
_DEOXYHAEMOGLOBIN = np.array([9443.6, 53412.0, 19773.0])
_SCATTERING = 46.0 * (WAVELENGTHS_NM / 500.0) ** -1.421


def _blood_absorption(oxygenation: float) -> NDArray[np.float64]:
    molar = oxygenation * _OXYHAEMOGLOBIN + (1.0 - oxygenation) * _DEOXYHAEMOGLOBIN
    return 2.303 * 150.0 / 64500.0 * molar


def skin_reflectance(melanin: FloatArray, blood: FloatArray, oxygenation: float = 0.75) -> FloatArray:
    """Return linear RGB reflectance in [0, 1] of skin.

    Args:
        melanin: melanosome volume fraction of the epidermis, any shape.
        blood: blood volume fraction of the dermis, same shape.
        oxygenation: oxygen saturation of the blood in [0, 1]; 0.75 is Jacques's (1998) mixed value.

    Returns:
        Array of the inputs' shape with a last axis of three (red, green, blue).
    """
    melanin, blood = melanin[..., None], blood[..., None]
    absorption = blood * _blood_absorption(oxygenation) + (1.0 - blood) * _BASELINE
    albedo = _SCATTERING / (absorption + _SCATTERING)
    dermis = albedo / (1.0 + 2.0 * (1.0 - albedo) + (5.0 / 3.0) * np.sqrt(3.0 * (1.0 - albedo)))
    epidermis = melanin * _MELANOSOME + (1.0 - melanin) * _BASELINE
    passed = np.exp(-_DOUBLE_PASS * _EPIDERMIS_CM * epidermis)
    return np.asarray(_SPECULAR + (1.0 - _SPECULAR) * dermis * passed, dtype=np.float32)


def linear_to_srgb(linear: FloatArray) -> FloatArray:
    """Encode linear RGB in [0, 1] with the sRGB transfer curve (IEC 61966-2-1)."""
    linear = np.clip(linear, 0.0, 1.0)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055).astype(
        np.float32
    )
