from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from alerts.models import Alert
from mlops import capsule
from mlops.registry.loading import NotLoaded


class Command(BaseCommand):
    help = "Decide about an alert again, from the readings and facts that its evidence holds alone."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("alert", type=int, help="number of the alert, as in its address")

    def handle(self, *args: Any, **options: Any) -> None:
        alert = Alert.objects.filter(pk=options["alert"]).first()
        if alert is None:
            raise CommandError(f"There is no alert {options['alert']}.")
        try:
            again = capsule.replay(alert.evidence)
        except NotLoaded as error:
            raise CommandError(f"The model that scored it cannot be had: {error}.") from error
        except (KeyError, TypeError, ValueError) as error:
            raise CommandError("The evidence of this alert holds nothing to decide by again.") from error
        for layer in again.decision.layers:
            self.stdout.write(f"{'passed' if layer.passed else 'failed':7} {layer.name}: {layer.detail}")
        self.stdout.write(f"{again.decision.decision.label}, confidence {again.decision.confidence:.3f}")
        if again.differences:
            raise CommandError("It was decided otherwise: " + "; ".join(again.differences))
        self.stdout.write("This is what was decided.")
