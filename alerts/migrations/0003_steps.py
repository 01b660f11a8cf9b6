from django.conf import settings
from django.db import migrations, models
from django.db.models import Q

STEPS = {"open": "raised", "acknowledged": "acknowledged", "resolved": "resolved"}


def name_steps(apps, schema_editor):
    """Until now a step was told by the state it led to."""
    transitions = apps.get_model("alerts", "Transition").objects.using(schema_editor.connection.alias)
    for state, step in STEPS.items():
        transitions.filter(to_state=state, step="").update(step=step)


class Migration(migrations.Migration):
    dependencies = [("alerts", "0002_faults"), migrations.swappable_dependency(settings.AUTH_USER_MODEL)]

    operations = [
        migrations.AddField(
            "transition",
            "step",
            models.CharField(max_length=15, default=""),
            preserve_default=False,
        ),
        migrations.RunPython(name_steps, migrations.RunPython.noop, elidable=True),
    ]
