"""A folder of photographs and a table, as a clinic keeps them."""

from pathlib import Path

import numpy as np
from PIL import Image

TONES = {"FST 1": (230, 190, 170), "Type II": (215, 175, 150), "V": (120, 85, 65), "6.0": (70, 50, 40)}


def photograph(file: Path, seed: int, tone: tuple[int, int, int] = (200, 160, 140), side: int = 48) -> None:
    """Write a picture of noise on a tone, of which no two are alike."""
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(0, 25, (side, side, 3))
    Image.fromarray(np.clip(np.asarray(tone) + noise, 0, 255).astype(np.uint8)).save(file)


def clinic(folder: Path, images: int = 48, **written: str) -> Path:
    """Write ``images/<year>/IMG_<number>.JPG`` and ``klinik.csv`` with German headers, two images a
    patient."""
    lines = ["Foto;Patient;Läsion;Diagnose;Hauttyp;Geschlecht;Teil;Haus;Datum"]
    for number in range(images):
        label, tone = ("Ekzem", "Psoriasis")[number // 2 % 2], list(TONES)[number // 4 % 4]
        photograph(folder / "images" / f"{2020 + number % 2}" / f"IMG_{number:04d}.JPG", number, TONES[tone])
        part = ("train", "train", "train", "Valid", "Testing")[number // 2 % 5]
        sex, house, year = "mw"[number // 2 % 2], "ABC"[number // 2 % 3], 2018 + number // 2 % 4
        cells = (
            f"IMG_{number:04d}",
            number // 2,
            number,
            label,
            tone,
            sex,
            part,
            house,
            f"{year}-05-0{1 + number % 9}",
        )
        lines.append(";".join(map(str, cells)))
    table = folder / written.get("name", "klinik.csv")
    table.write_text("\n".join(lines) + "\n", encoding=written.get("encoding", "utf-8-sig"))
    return folder
