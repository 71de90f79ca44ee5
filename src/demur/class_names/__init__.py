"""What classes are called: lists of names in files, the classes of ImageNet, and names of model and data that meet."""

from demur.class_names.class_list import class_list
from demur.class_names.class_map import ClassMap, is_class_map, read_class_map
from demur.class_names.class_meeting import Meeting, meeting

__all__ = ["ClassMap", "Meeting", "class_list", "is_class_map", "meeting", "read_class_map"]
