from django.urls import path

from sensors.imports import views as imports
from sensors.views import annotations, connect, discovered, entry, nameplates, plant, quarantine

app_name = "sensors"
urlpatterns = [
    path("", plant.overview, name="overview"),
    path("assets/", plant.assets, name="assets"),
    path("assets/<int:pk>/", plant.asset, name="asset"),
    path("assets/<int:pk>/enter/", entry.enter, name="enter"),
    path("assets/<int:pk>/annotate/", annotations.annotate, name="annotate"),
    path("assets/<int:pk>/annotations.json", annotations.marks, name="annotations"),
    path("assets/<int:pk>/nameplate/", nameplates.nameplate, name="nameplate"),
    path("assets/<int:pk>/documents/", nameplates.add_document, name="add-document"),
    path("documents/<int:pk>/", nameplates.document, name="document"),
    path("documents/<int:pk>/remove/", nameplates.remove_document, name="remove-document"),
    path("assets/<int:pk>/label/", nameplates.label, name="label"),
    path("assets/<int:pk>/label.svg", nameplates.label_svg, name="label-svg"),
    path("assets/<int:pk>/label.png", nameplates.label_png, name="label-png"),
    path("sites/<int:pk>/labels/", nameplates.sheet, name="labels"),
    path("annotations/<int:pk>/remove/", annotations.take_back, name="remove-annotation"),
    path("sensors/health/", plant.health, name="health"),
    path("sensors/discovered/", discovered.discovered, name="discovered"),
    path("sensors/<int:pk>/place/", discovered.place, name="place"),
    path("sensors/<int:pk>/readings/", plant.readings, name="readings"),
    path("sensors/<int:pk>/readings/correct/", entry.correct, name="correct"),
    path("sensors/<int:pk>/connect/", connect.connect, name="connect"),
    path("sensors/<int:pk>/series.json", plant.series, name="series"),
    path("quarantine/", quarantine.causes, name="quarantine"),
    path("quarantine/rows/", quarantine.group, name="quarantine-group"),
    path("quarantine/<int:pk>/", quarantine.row, name="quarantined"),
    path("quarantine/<int:pk>/discard/", quarantine.discard, name="discard-quarantined"),
    path("imports/", imports.index, name="imports"),
    path("imports/<int:pk>/", imports.show, name="import"),
    path("imports/<int:pk>/start/", imports.start, name="import-start"),
    path("imports/<int:pk>/cancel/", imports.cancel, name="import-cancel"),
]
