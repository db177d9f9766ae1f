"""A scikit-learn classifier that trains on hosts: fits into pipelines, cross-validation and grid search.

Owns: scikit-learn's conventions. Must never: have a parameter that is a key; scikit-learn prints parameters.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from typing_extensions import Unpack

from .arrays import F32, AnyArray
from .client import Client
from .data import DataError, Dataset
from .training.host_group import HostLink
from .training.settings import Settings
from .training.settings_dict import SettingsDict
from .training.trainer import Tuner
from .training.visits import end_quickly

THRESHOLD = 0.5
"""Of several labels, those are predicted that are at least this likely."""


class PrivateClassifier(ClassifierMixin, BaseEstimator):
    """Classifies texts (or pairs of texts) with a model that is fine-tuned on `hosts`, which get no label.

    `hosts` are URLs, whose keys come from BLINDTUNE_API_KEY, or `Client`s. Keyword arguments are those of `Settings`:
    `PrivateClassifier("minilm", hosts=[url], steps=400, lr=1e-3).fit(texts, labels)`. They are parameters as
    scikit-learn knows them, so `set_params(lr=1e-3)` and a grid over `lr` work. A fitted one has `classes_` and
    `tuner_`, the `Tuner` that trained; each fit starts anew.
    """

    def __init__(self, model: str, hosts: Sequence[str | Client] = (), **settings: Unpack[SettingsDict]) -> None:
        self.model = model
        self.hosts = hosts
        self.settings: dict[str, Any] = dict(settings)
        Settings.from_dict(settings)  # refuses unknown names

    def fit(self, X: Sequence[Any], y: Sequence[Any]) -> PrivateClassifier:
        """Train on texts X, [N] strings or [N, 2] pairs, and their labels y [N].

        With method side or auto y may be [N, C] of 0 and 1, as MultiLabelBinarizer makes it: several labels a row.
        """
        labels = _array(y)
        self.classes_: AnyArray = np.unique(labels) if labels.ndim == 1 else np.arange(labels.shape[1])
        self.multilabel_ = labels.ndim > 1
        names = [str(k) for k in range(len(self.classes_))]
        if self.multilabel_:
            sets = [np.flatnonzero(row).tolist() for row in labels]
            data = Dataset.from_lists(X, sets, names, task="multilabel")
        else:
            data = Dataset.from_lists(X, np.searchsorted(self.classes_, labels), names)
        self.tuner_ = Tuner(self.model, self.hosts, progress=False, **self.settings)
        self.tuner_.fit(data)
        weakref.finalize(self.tuner_, _cancel_jobs, self.tuner_.links)
        return self

    def predict_proba(self, X: Sequence[Any]) -> F32:
        """Probabilities [N, C], columns in the order of `classes_`."""
        check_is_fitted(self)
        return self.tuner_.predict_proba([text if isinstance(text, str) else (text[0], text[1]) for text in X])

    def predict(self, X: Sequence[Any]) -> AnyArray:
        """The label [N] of each text; [N, C] of 0 and 1 where y was so."""
        found = self.predict_proba(X)
        if self.multilabel_:
            return np.asarray(found >= THRESHOLD, dtype=np.int64)
        return np.asarray(self.classes_[found.argmax(axis=1)])

    # scikit-learn's conventions, for parameters that are not all in the signature.

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002
        """`model`, `hosts`, and the settings that were given."""
        return {"model": self.model, "hosts": self.hosts, **self.settings}

    def set_params(self, **params: Any) -> PrivateClassifier:
        """Change some of them; any name of `Settings` will do."""
        settings = {name: value for name, value in params.items() if name not in ("model", "hosts")}
        Settings.from_dict(settings)
        self.model, self.hosts = params.get("model", self.model), params.get("hosts", self.hosts)
        self.settings = self.settings | settings
        return self

    def __sklearn_clone__(self) -> PrivateClassifier:
        """Unfitted, on the same hosts: a `Client` is shared, not copied."""
        return type(self)(**self.get_params())

    def __sklearn_tags__(self) -> Any:
        """Takes strings, not a matrix of numbers."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = True, False
        tags.non_deterministic = True
        tags.classifier_tags.multi_label = self.settings.get("method") in ("side", "auto")
        return tags


def _array(y: Sequence[Any]) -> AnyArray:
    """Labels [N], or [N, C] of 0 and 1."""
    advice = "several labels for a row are a matrix of 0 and 1: see sklearn.preprocessing.MultiLabelBinarizer"
    try:
        labels = np.asarray(y)
    except ValueError:
        raise DataError(f"y has rows of different length; {advice}") from None
    if labels.ndim > 2 or (labels.ndim == 2 and not np.isin(labels, (0, 1)).all()):
        raise DataError(f"y of shape {labels.shape} is neither [N] nor [N, C] of 0 and 1; {advice}")
    return labels


def _cancel_jobs(links: Sequence[HostLink]) -> None:
    """Cross-validation drops what it fitted: its jobs must not stay open, since a host allows so many at a time."""
    for link in links:
        end_quickly(link.client, link.job_id)
