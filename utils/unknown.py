"""The one value for whatever is not known: a camera, a label, an altitude, a day, an attribute code of DetReIDX.

Records use None where a field may be absent; this number stands where only integers fit (arrays, tensors, indices).
"""

UNKNOWN = -1
