"""Images in GenEval's layout that are drawn, so that it is known what is in them."""

import io
import random

from PIL import Image

from diffatlas.bench.audit import pictures
from diffatlas.bench.packs.geneval import write_folder
from diffatlas.bench.packs.shapes import as_task
from diffatlas.bench.tasks import Pack
from diffatlas.shapes.scenes import caption, sample_scene
from diffatlas.shapes.tasks import all_tasks


def scenes_of(category, kind, count, seed=0):
    """Scenes of a kind, each with the task of a category that its caption is."""
    tasks = {task.prompt: task for task in all_tasks(category)}
    rng, found = random.Random(f"{category} {seed}"), []
    while len(found) < count:
        scene = sample_scene(rng, kind)
        words = caption(scene, colored=rng.random() < 0.7, short=rng.random() < 0.5)
        if words in tasks and words not in {task.prompt for _, task in found}:
            found.append((scene, tasks[words]))
    return found


def png(picture):
    """A picture as a file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def drawn_folder(folder, right=3, wrong=1, seed=0):
    """Write six tasks of each of two categories; of each ``right`` images are its own scene, ``wrong`` another's."""
    found = [*scenes_of("binding", "two", 6, seed), *scenes_of("position", "relation", 6, seed)]
    images = pictures([scene for scene, _ in found])
    tasks = tuple(as_task(task, f"t{number:02d}") for number, (_, task) in enumerate(found))
    pack = Pack(name="drawn", title="Drawn", tasks=tasks)
    files = {
        task.id: [png(images[k])] * right + [png(images[(k + 5) % 12])] * wrong
        for k, task in enumerate(tasks)
    }
    write_folder(folder, pack, files)
    return pack
