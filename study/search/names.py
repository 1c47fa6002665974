"""What a study is called in its search's memory."""

from __future__ import annotations

import optuna

from search_spaces.schema import StudyFile
from study.search.durable import open_storage
from study.storage.directory import StudyDirectory


def rename_search(directory: StudyDirectory, study_file: StudyFile, name: str) -> None:
    """Have the memory know the study by another name; nothing where it knows none. StudyError where it is away."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_storage(directory, study_file)
    if directory.name not in optuna.get_all_study_names(storage):
        return
    optuna.copy_study(from_study_name=directory.name, from_storage=storage, to_storage=storage, to_study_name=name)
    optuna.delete_study(study_name=directory.name, storage=storage)


def forget_search(directory: StudyDirectory, study_file: StudyFile) -> None:
    """Delete the study from a database that others use too; the folder's own goes with the folder."""
    if study_file.storage is not None:
        storage = open_storage(directory, study_file)
        if directory.name in optuna.get_all_study_names(storage):
            optuna.delete_study(study_name=directory.name, storage=storage)
