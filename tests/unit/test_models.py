"""Model files: those that ship are what the manifest says, and damaged ones are refused. Runs with either TFLite runtime."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from device.errors import ModelError, RuntimeMissingError
from device.manifest import FOLDER, read_manifest
from device.nets import emotion, face
from device.nets.emotion import EmotionNet
from device.nets.face import FaceNet
from device.tflite import Model, ModelFile, Tensor, TensorSpec, copies, find_runtime

SPECS = {
    emotion.NAME: (emotion.INPUTS, emotion.OUTPUTS),
    **{detector.name: (detector.inputs, detector.outputs) for detector in face.DETECTORS.values()},
}
NETS = [(name, form) for name, entry in read_manifest().entries.items() for form in entry.forms or [None]]


def file_of(path: Path, content: bytes) -> ModelFile:
    path.write_bytes(content)
    return ModelFile(path, hashlib.sha256(content).hexdigest())


def open_model(name: str, form: str | None = None) -> Model:
    inputs, outputs = SPECS[name]
    return Model(read_manifest().file(name, form), inputs=inputs, outputs=outputs)


def inside(model: Model) -> Tensor:
    """What the input tensor holds now."""
    return np.array(model._interpreter.get_tensor(model._input))


# the files that ship


@pytest.mark.parametrize(("name", "form"), NETS)
def test_a_shipped_model_is_the_one_in_the_manifest_and_has_the_tensors_that_its_module_expects(
    name: str, form: str | None
) -> None:
    model, entry = open_model(name, form), read_manifest()[name]

    assert model.sha256 == (entry.forms[form].sha256 if form else entry.sha256)


def test_the_form_that_tools_load_is_one_of_the_forms() -> None:
    for entry in read_manifest().entries.values():
        if entry.form is not None:
            assert (entry.file, entry.sha256) == (entry.forms[entry.form].file, entry.forms[entry.form].sha256)


def test_a_form_that_a_model_has_not_is_named_with_those_that_it_has() -> None:
    with pytest.raises(
        ModelError, match=r"manifest\.json: model 'face-back' has no form 'int4'; it has float16, int8, int8-weights"
    ):
        read_manifest().file("face-back", "int4")
    with pytest.raises(ModelError, match=r"it has one without a name"):
        read_manifest().file(emotion.NAME, "int8")


def test_the_manifest_names_every_model_file_with_origin_and_licence() -> None:
    entries = read_manifest().entries

    named = {entry.file for entry in entries.values()} | {form.file for entry in entries.values() for form in entry.forms.values()}
    assert named == {path.name for path in FOLDER.glob("*.tflite")}
    assert all(entry.source and entry.licence for entry in entries.values())


def test_the_emotion_model_is_small_and_takes_grey_minus_128_as_it_is() -> None:
    model = open_model(emotion.NAME)

    assert read_manifest().file(emotion.NAME).path.stat().st_size <= 1_200_000
    assert (model.scale, model.zero_point, model.input_dtype) == (1 / 128, 0, np.dtype(np.int8))


# no pixel stays


@pytest.mark.parametrize(("name", "form"), NETS)
def test_the_input_holds_zeros_after_a_run(name: str, form: str | None) -> None:
    model = open_model(name, form)

    model.run(lambda out: out.fill(1), copies)

    assert not inside(model).any()


@pytest.mark.parametrize(("name", "form"), NETS)
def test_the_input_holds_zeros_also_when_filling_it_fails(name: str, form: str | None) -> None:
    model = open_model(name, form)

    def half(out: Tensor) -> None:
        out[0, :10] = 1
        raise ValueError("the crop could not be made")

    with pytest.raises(ValueError, match="crop"):
        model.run(half, copies)

    assert not inside(model).any()


@pytest.mark.parametrize(("name", "form"), NETS)
def test_outputs_are_copies_that_the_next_run_does_not_change(name: str, form: str | None) -> None:
    model = open_model(name, form)
    first = model.run(lambda out: out.fill(1), copies)
    kept = [output.copy() for output in first]

    model.run(lambda out: out.fill(0), copies)

    assert all((output == copy).all() for output, copy in zip(first, kept, strict=True))


@pytest.mark.parametrize(("name", "form"), NETS)
def test_a_scrubbed_model_answers_as_if_it_had_seen_nothing(name: str, form: str | None) -> None:
    model, fresh = open_model(name, form), open_model(name, form)
    model.run(lambda out: out.fill(1), copies)

    model.scrub()

    assert not inside(model).any()
    answers = [m.run(lambda out: out.fill(0), copies) for m in (model, fresh)]
    assert all((used == new).all() for used, new in zip(*answers, strict=True))


# files that are wrong: each error names the file and what was expected


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"absent\.tflite: cannot read the model \(No such file.*restore the file"):
        FaceNet(ModelFile(tmp_path / "absent.tflite", "0" * 64))


def test_a_truncated_model_is_refused_by_its_hash_before_anything_parses_it(tmp_path: Path) -> None:
    shipped = read_manifest().file(face.NAME)
    path = tmp_path / "face.tflite"
    path.write_bytes(shipped.path.read_bytes()[:100_000])

    with pytest.raises(ModelError, match=rf"face\.tflite: .*100000 bytes.*expected {shipped.sha256[:12]}"):
        FaceNet(ModelFile(path, shipped.sha256))


def test_one_changed_bit_is_refused(tmp_path: Path) -> None:
    shipped = read_manifest().file(emotion.NAME)
    content = bytearray(shipped.path.read_bytes())
    content[len(content) // 2] ^= 1
    path = tmp_path / "emotion.tflite"
    path.write_bytes(content)

    with pytest.raises(ModelError, match=rf"emotion\.tflite: .*damaged.*expected {shipped.sha256[:12]}"):
        EmotionNet(ModelFile(path, shipped.sha256))


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x1c\x00\x00\x00TFL3" + bytes(64)])
def test_a_file_that_is_no_model_is_refused_even_if_its_hash_is_expected(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ModelError, match=r"other\.tflite: .* cannot run this model .*restore the packaged file"):
        FaceNet(file_of(tmp_path / "other.tflite", content))


def test_a_model_for_another_job_is_refused_with_the_tensors_that_were_expected() -> None:
    said = r"emotion\.tflite: input tensors are int8\[1, 48, 48, 1\]; expected float32\|int8\[1, 192, 192, 3\]"
    with pytest.raises(ModelError, match=said):
        FaceNet(read_manifest().file(emotion.NAME))


def test_outputs_are_checked_as_well() -> None:
    wanted = TensorSpec((1, 7), ("float32",))

    with pytest.raises(ModelError, match=r"output tensors are float32\[1, 8\]; expected float32\[1, 7\]"):
        Model(read_manifest().file(emotion.NAME), inputs=emotion.INPUTS, outputs=(wanted,))


# the manifest


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"manifest\.json: cannot read the list of models"):
        read_manifest(tmp_path)


FACE = {"file": "face.tflite", "sha256": "0" * 64, "source": "", "licence": ""}


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ("{", "the file"),
        ("[]", "the file"),
        (json.dumps({"schema": 2, "models": {}}), "schema"),
        (json.dumps({"models": {"face": {**FACE, "file": "../face.tflite"}}}), r"models\.face\.file"),
        (json.dumps({"models": {"face": {**FACE, "sha256": "zz"}}}), r"models\.face\.sha256"),
        (json.dumps({"models": {"face": {**FACE, "temperature": 0}}}), r"models\.face\.temperature"),
        (json.dumps({"models": {"face": {**FACE, "path": "/tmp"}}}), r"models\.face\.path"),
    ],
)
def test_a_manifest_that_is_wrong_says_where(tmp_path: Path, content: str, where: str) -> None:
    (tmp_path / "manifest.json").write_text(content)

    with pytest.raises(ModelError, match=rf"manifest\.json: .*{where}"):
        read_manifest(tmp_path)


def test_a_model_that_the_manifest_lacks_is_named_with_those_that_it_has() -> None:
    with pytest.raises(ModelError, match=r"no model named 'gaze'; it has emotion, face, face-back, face-short"):
        read_manifest().file("gaze")


# the runtimes


def test_a_runtime_is_found() -> None:
    name, interpreter = find_runtime()

    assert name in {"ai-edge-litert", "tflite-runtime"}
    assert callable(interpreter)


def test_without_any_runtime_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter"):
        monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(RuntimeMissingError, match=r"no TFLite runtime: .*pip install mien"):
        find_runtime()


def test_tflite_runtime_is_not_tried_with_a_numpy_that_breaks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "__version__", "2.1.0")

    with pytest.raises(RuntimeMissingError, match=r"tflite-runtime needs numpy<2 and this is numpy 2\.1\.0"):
        find_runtime("tflite-runtime")
