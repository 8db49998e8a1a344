"""The one number for an unknown camera, label, altitude or day, and for DetReIDX's unknown attributes.

Records use None where a field may be absent; this number is used where only integers fit (arrays, tensors, indices).
"""

UNKNOWN = -1
