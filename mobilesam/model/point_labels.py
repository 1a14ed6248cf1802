"""Labels of points as the prompt encoder takes them. A user gives only 0 and 1.

Without torch, for what runs exported files alone.
"""

UNUSED_SLOT = -2
PADDING_POINT = -1
BACKGROUND = 0
FOREGROUND = 1
BOX_TOP_LEFT = 2
BOX_BOTTOM_RIGHT = 3
