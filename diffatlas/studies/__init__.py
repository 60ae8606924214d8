"""Studies: planned in lanes and cells (`plan_*`), run (`run*`), measured (`measure_*`), put into words (`words_*`)."""
