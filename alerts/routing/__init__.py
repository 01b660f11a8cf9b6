"""Who hears of an alert, when and by which way."""
