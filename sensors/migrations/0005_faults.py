from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("sensors", "0004_import"),
    ]

    operations = [
        migrations.AddField(
            model_name="sensorprofile",
            name="live_since",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="sensorprofile",
            name="arrival_seconds",
            field=models.FloatField(
                help_text="Longest usual pause between two deliveries; a gateway may send a whole hour at once.", null=True
            ),
        ),
        migrations.AddField(
            model_name="sensorprofile",
            name="quality",
            field=models.FloatField(null=True),
        ),
    ]
