"""At least 95% of planted copies are found and at most 2% of unseen photographs flagged, on real ones."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skindiff.corpora.ham10000 import Ham10000Config, load_ham10000
from skindiff.measures.copying.memorisation import planted_found
from skindiff.measures.copying.nearest import KnownStructures
from skindiff.measures.copying.planted import KINDS
from skindiff.measures.copying.structure import comparable
from skindiff.measures.copying.threshold import THRESHOLD, held_out_threshold
from skindiff.seeding import numpy_generator

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "plant_copies.py"
SIZE, TRAINING, SETTING, UNSEEN = 64, 500, 200, 200


def test_copies_of_dermatoscopic_images_are_found(real_data: Path) -> None:
    paths = load_ham10000(Ham10000Config(str(real_data / "ham10000"))).paths()
    order = numpy_generator("planted in ham10000").permutation(sorted(paths))
    names = order[: TRAINING + SETTING + UNSEEN].tolist()
    small = (Image.open(paths[name]).convert("RGB").resize((SIZE, SIZE)) for name in names)
    pixels = comparable(small)
    known = KnownStructures(pixels[:TRAINING], names[:TRAINING])

    (setting,) = known.nearest(pixels[TRAINING : TRAINING + SETTING])
    limit = held_out_threshold(
        setting.similarity,
        names[TRAINING : TRAINING + SETTING],
        false_flags=0.02,
        confidence=0.95,
        default=THRESHOLD,
    )
    assert limit.source == "held-out"
    (unseen,) = known.nearest(pixels[TRAINING + SETTING :])
    assert np.mean(unseen.similarity >= limit.value) <= 0.02
    everything = np.ones(TRAINING, np.bool_)
    shares = planted_found(known, pixels[:TRAINING], everything, limit.value, 40, KINDS, 0)
    assert all(found["share"] >= 0.95 for found in shares.values()), shares


@pytest.mark.slow
@pytest.mark.parametrize("corpus", ["ham10000", "fitzpatrick17k"])
def test_the_script_reaches_its_aims(corpus: str, real_data: Path, tmp_path: Path) -> None:
    words = [str(SCRIPT), corpus, str(real_data / corpus), "--copies", "100", "--cache_dir", str(tmp_path)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    rows = re.findall(r"^\| (.+?) \| (\d+) \| ([\d.]+) \[.+\] \| (.+?) \|$", done.stdout, re.MULTILINE)
    shares = {name: (float(share), aim) for name, _, share, aim in rows}
    assert shares.keys() >= {"unseen real", *KINDS}
    assert shares["unseen real"][0] <= 2
    assert all(share >= 95 for share, aim in shares.values() if aim == "at least 95")
