from sensors.querysets import SiteScopedQuerySet


class BaselineQuerySet(SiteScopedQuerySet):
    site_path = "sensor__site"


class AnomalyQuerySet(SiteScopedQuerySet):
    site_path = "sensor__site"


class ValidationPolicyQuerySet(SiteScopedQuerySet):
    site_path = "site"
