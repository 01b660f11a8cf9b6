from sensors.querysets import SiteScopedQuerySet


class AnomalyQuerySet(SiteScopedQuerySet):
    site_path = "sensor__asset__site"
