# The service `hivlp serve`: slim, unprivileged, fine with a read-only file system. See docs/serve.md.
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY src ./src
RUN python -m venv /opt/hivlp \
 && /opt/hivlp/bin/pip install --no-cache-dir --constraint constraints.txt '.[serve]'

FROM python:3.12-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin hivlp
COPY --from=build /opt/hivlp /opt/hivlp
ENV PATH=/opt/hivlp/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["hivlp", "serve", "--host", "0.0.0.0", "--port", "8000"]
CMD ["/data/photos.hivlp"]
