"""The one number for an unknown camera, label, altitude, day or attribute code.

Records use None where a field may be absent; this number is used where only integers fit (arrays, tensors, indices).
"""

UNKNOWN = -1
