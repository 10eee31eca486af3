"""Every command and Python example in the documents is run by a test, or the document says that it is not."""

import ast
import re
import subprocess
import sys

import pytest
from documents import DOCUMENTS, Block, blocks
from project import ROOT

TEAM = "tests/graph/test_team.py::"
GRAPH = "tests/graph/test_graph.py::"
HERE = "tests/documents/test_examples.py::"
# By document and heading: the test that runs what stands there, on smaller files or in one process.
TESTED = {
    ("README.md", "A clip"): GRAPH + "test_own_clips_are_captioned_with_and_without_sound",
    ("README.md", "Your own data"): TEAM + "test_two_commands_go_from_clips_and_captions_to_the_page",
    ("docs/clusters.md", "Extraction, and work on several GPUs and machines"):
        "tests/extraction/test_cluster.py::test_local_workers_are_started_and_ended",
    ("docs/clusters.md", "Several GPUs on one machine"):
        "tests/extraction/test_cluster.py::test_local_workers_are_started_and_ended",
    ("docs/clusters.md", "Which stages use workers"):
        "tests/workers/test_stages_on_workers.py::test_a_killed_worker_changes_no_byte",
    ("docs/clusters.md", "SLURM"): "tests/workers/test_slurm.py::test_the_job_script_starts_a_worker",
    ("docs/clusters.md", "Several machines"):
        "tests/extraction/test_cluster.py::test_a_worker_killed_while_it_works_changes_no_byte",
    ("docs/datasets.md", "Published data sets"): TEAM + "first",
    ("docs/datasets.md", "What was run here"): "tests/datasets/test_msvd.py::test_the_real_annotations",
    ("docs/datasets.md", "Presets"): HERE + "test_parameters_in_commands_exist",
    ("docs/decoding.md", "Decoding videos"): HERE + "test_the_example_of_the_decoder",
    ("docs/faults.md", "What is promised when something fails"):
        "tests/faults/test_kills.py::test_a_killed_stage_goes_on_to_the_same_bytes",
    ("docs/first-hour.md", "3. Caption some clips"): GRAPH + "test_own_clips_are_captioned_with_and_without_sound",
    ("docs/first-hour.md", "4. Look into the files"): HERE + "test_the_commands_of_feature_stores",
    ("docs/first-hour.md", "5. Nothing is computed twice"): GRAPH + "test_an_override_of_one_stage_runs_it_alone",
    ("docs/method.md", "The ablation"): "tests/ablation/test_ablation.py::test_the_command",
    ("docs/method.md", "What the paper says, and what we do"): HERE + "test_parameters_in_commands_exist",
    ("docs/own-data.md", "Two commands"): TEAM + "test_two_commands_go_from_clips_and_captions_to_the_page",
    ("docs/own-data.md", "More"): "tests/ablation/test_ablation.py::test_the_command",
    ("docs/models.md", "A model as one folder"):
        "tests/sharing/test_model_folder.py::test_it_captions_as_the_project_does_wherever_it_lies",
    ("docs/own-clips.md", "Captions of your own clips"):
        GRAPH + "test_every_output_of_own_clips_says_what_the_captioner_was_trained_on",
    ("docs/own-clips.md", "In Python"):
        "tests/sharing/test_model_folder.py::test_it_captions_as_the_project_does_wherever_it_lies",
    ("docs/performance.md", "Training and beam search"):
        "tests/benchmarks/test_captioner_benchmark.py::test_it_measures",
    ("docs/performance.md", "Search"):
        "tests/benchmarks/test_retrieval_benchmark.py::test_search_is_measured_beside_faiss",
    ("docs/performance.md", "On a GPU"):
        "tests/benchmarks/test_gpu_benchmark.py::test_every_part_is_measured",
    ("docs/scoring.md", "Metrics, and scores for the captions of any system"):
        "tests/metrics/test_score_files.py::test_the_terminal_has_one_table_and_what_was_written",
    ("docs/sharing.md", "Once"): TEAM + "first",
    ("docs/sharing.md", "Your own videos, shared"): TEAM + "test_after_a_pull_there_is_nothing_to_do",
    ("docs/sharing.md", "Without the videos"): TEAM + "test_who_has_no_videos_computes_and_loses_nothing",
    ("docs/sharing.md", "One video more"): TEAM + "test_one_video_more_is_one_video_encoded_and_few_shards_pushed",
    ("docs/sharing.md", "Experiments"): TEAM + "test_queued_experiments_run_without_the_videos",
    ("docs/sharing.md", "Making room"): TEAM + "test_collecting_garbage_keeps_every_data_set",
    ("docs/sharing.md", "When a store is damaged"): TEAM + "test_a_damaged_store_comes_back_from_the_cache",
    ("docs/sharing.md", "Tables for other tools"):
        "tests/sharing/test_parquet.py::test_the_library_of_data_sets_reads_them",
    ("docs/sharing.md", "FiftyOne"):
        "tests/sharing/test_parquet.py::test_the_script_for_fiftyone_gives_every_prediction_with_its_clip",
    ("docs/stages.md", "Two runs compared"):
        "tests/report/test_report_stage.py::test_another_run_is_compared_on_a_page_of_its_own",
    ("docs/studio.md", "The studio"):
        "tests/studio/test_studio.py::test_the_command_shows_its_address_and_ends_with_ctrl_c",
    ("docs/store-format.md", "Read a store without our code"): HERE + "test_examples_read_a_store",
    ("docs/store-format.md", "Read a store with our code"): HERE + "test_examples_read_a_store",
    ("docs/store-format.md", "What is in it, and is it whole?"): HERE + "test_the_commands_of_feature_stores",
    ("docs/store-format.md", "Import features of others"): HERE + "test_the_commands_of_feature_stores",
    ("docs/store-format.md", "Export features"): HERE + "test_the_commands_of_feature_stores",
}
BLOCKS = [block for document in DOCUMENTS for block in blocks(document)
          if block.commands or block.language == "python"]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.document}-{block.heading}")
def test_commands_are_run_or_marked(block: Block) -> None:
    test = TESTED.get((block.document, block.heading))
    assert test or block.is_marked, f"{block.document}, {block.heading}: name the test of {block.commands}, or mark it"
    assert not (test and block.is_marked), f"{block.document}, {block.heading}: run, and marked as not run"


def test_no_test_is_named_in_vain() -> None:
    headings = {(block.document, block.heading) for block in BLOCKS}
    for (document, heading), test in TESTED.items():
        assert (document, heading) in headings, f"{document} has no commands under {heading!r}"
        file, _, name = test.partition("::")
        functions = {node.name for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body
                     if isinstance(node, ast.FunctionDef)}
        assert name in functions, f"{file} has no {name}"


@pytest.mark.parametrize("command", sorted({command for block in BLOCKS for command in block.commands
                                            if re.match(r"python -m (stages|pipeline)\.[\w.]+.* --\w", command)}))
def test_options_exist(command: str) -> None:
    module = command.split()[2:3] if "pipeline.store" not in command else command.split()[2:4]
    told = subprocess.run([sys.executable, "-m", *module, "--help"], cwd=ROOT, capture_output=True, text=True,
                          check=True).stdout
    for option in re.findall(r" (--[\w-]+)", command):
        assert option in told, f"{command}: no option {option}"
