# One image for web, worker, beat and migrate; docker-compose.yml names their commands.
FROM python:3.13-slim AS install
COPY requirements/base.txt /tmp/base.txt
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /tmp/base.txt

FROM python:3.13-slim
# STATE_DIR holds only the collected static files and uploads here: database and broker are other containers.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    STATE_DIR=/srv/state
RUN useradd --system --home-dir /srv/app app && install -d -o app /srv/state /srv/state/imports /srv/state/files /srv/state/artifacts /srv/state/models
COPY --from=install /opt/venv /opt/venv
WORKDIR /srv/app
COPY manage.py ./
COPY config config
COPY sensors sensors
COPY alerts alerts
COPY maintenance maintenance
COPY mlops mlops
COPY templates templates
COPY static static
USER app
# Nothing is signed with this key; the containers refuse to start without one of their own.
RUN SECRET_KEY=only-to-collect-static-files python manage.py collectstatic --noinput --verbosity 0
EXPOSE 8000
