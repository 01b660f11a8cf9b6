from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('alerts', '0001_initial'),
    ]

    operations = [
        migrations.AlterField(
            model_name='alert',
            name='kind',
            field=models.CharField(choices=[('anomaly', 'Anomaly'), ('sensor_fault', 'sensor fault'), ('silent', 'silent sensor'), ('system', 'System')], default='anomaly', max_length=20),
        ),
        migrations.AddIndex(
            model_name='alert',
            index=models.Index(fields=['dedup_key'], name='alert_by_cause'),
        ),
    ]
