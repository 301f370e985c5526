"""Maps and their truth -> scores with intervals, figures, and the report page."""
