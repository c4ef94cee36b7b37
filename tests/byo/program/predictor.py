"""Multiplies each line of CSV by the factor that the package's sample shows."""

import json
from pathlib import Path

import flask

MODEL = Path("/opt/ml/model/sample.json")

app = flask.Flask(__name__)


def factor():
    return json.loads(MODEL.read_text())["predictions"][0]["score"]


@app.route("/ping", methods=["GET"])
def ping():
    factor()
    return flask.Response(response="\n", status=200, mimetype="application/json")


@app.route("/invocations", methods=["POST"])
def invocations():
    if flask.request.content_type != "text/csv":
        return flask.Response(
            response="This predictor only supports CSV data", status=415, mimetype="text/plain"
        )
    rows = flask.request.data.decode("utf-8").split()
    lines = "".join(f"{float(row) * factor()}\n" for row in rows)
    return flask.Response(response=lines, status=200, mimetype="text/csv")
