"""x"""
WIDGET_CLASSES = {}
