# SPDX-License-Identifier: Apache-2.0
"""Rows of figures added to a CSV file, whose columns stay what they are."""
import csv
import os
import sys


def append(path, fields, rows):
    """Adds rows (dicts) to the file, with a header if it is new. Ends the program if the file has other columns."""
    new = not os.path.exists(path) or os.path.getsize(path) == 0
    if not new:
        with open(path, newline='') as f:
            if next(csv.reader(f)) != fields:
                sys.exit(f'{path} has other columns: give another --csv')
    with open(path, 'a', newline='') as f:
        w = csv.DictWriter(f, fields, lineterminator='\n')
        if new:
            w.writeheader()
        w.writerows(rows)
