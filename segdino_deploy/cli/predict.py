"""`segdino-deploy predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segdino_deploy.cli.arguments import JsonOption
from segdino_deploy.cli.console import Progress
from segdino_deploy.cli.folder_options import (
    BatchSizeOption,
    Failures,
    OverlayOption,
    ResumeOption,
    TableOption,
    WorkersOption,
    local_paths,
    print_summary,
    print_summary_json,
    saying_how_to_go_on,
)
from segdino_deploy.cli.ray_options import (
    RayActorsOption,
    RayCpusOption,
    RayGpusOption,
    RayOption,
    ray_options,
    run_on_ray,
)
from segdino_deploy.cli.tile_options import (
    MaskFormatOption,
    ModeOption,
    OverlapOption,
    TileOption,
    aside_for,
    hint_after,
    tile_options,
)
from segdino_deploy.cli.triton import (
    TritonCaOption,
    TritonHeaderOption,
    TritonModelOption,
    TritonOption,
    TritonTimeoutOption,
    TritonTokenOption,
    check_triton_options,
    open_triton_runner,
)
from segdino_deploy.cli.video_options import (
    EveryOption,
    FpsOption,
    MaskVideoOption,
    MaxFramesOption,
    OverlayCodecOption,
    predict_videos,
    refuse_image_options,
    refuse_video_options,
    split_inputs,
    video_options,
)
from segdino_deploy.errors import CheckFailed, InputError

if TYPE_CHECKING:
    from segdino_deploy.engines.run import Runner


def command(
    context: typer.Context,
    bundle: Annotated[Path, typer.Argument(help="The bundle, or one engine file inside it.")],
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="Images, folders of images, videos, camera:0, rtsp://...")
    ],
    output: Annotated[str, typer.Option("-o", "--output", metavar="DIR", help="Where masks and overlays go.")],
    precision: Annotated[
        str | None, typer.Option(metavar="P", help="fp32, fp16, bf16 or int8. Default: fp16, bf16, fp32, int8.")
    ] = None,
    backend: Annotated[str | None, typer.Option(metavar="B", help="Default: the first that runs here.")] = None,
    overlay: OverlayOption = True,
    batch_size: BatchSizeOption = None,
    workers: WorkersOption = None,
    table: TableOption = None,
    resume: ResumeOption = False,
    ray: RayOption = None,
    ray_actors: RayActorsOption = None,
    ray_cpus: RayCpusOption = 1,
    ray_gpus: RayGpusOption = 0.0,
    mode: ModeOption = "resize",
    tile: TileOption = None,
    overlap: OverlapOption = None,
    mask_format: MaskFormatOption = None,
    overlay_codec: OverlayCodecOption = None,
    mask_video: MaskVideoOption = None,
    max_frames: MaxFramesOption = None,
    every: EveryOption = None,
    fps: FpsOption = None,
    triton: TritonOption = None,
    triton_model: TritonModelOption = None,
    triton_timeout: TritonTimeoutOption = 60.0,
    triton_header: TritonHeaderOption = None,
    triton_token: TritonTokenOption = None,
    triton_ca: TritonCaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Segment images and videos: masks and overlays.

    Writes <stem>.png (the mask at source size) and <stem>.overlay.png, for named heads <stem>.<head>.png and
    <stem>.<head>.overlay.png; sub-folders are kept. Exit code 1 where an image failed; the others are written.
    """
    from segdino_deploy.engines.run import open_engine
    from segdino_deploy.folders.options import FolderOptions
    from segdino_deploy.folders.predict import engine_identity, predict_folder
    from segdino_deploy.folders.recording import Reports
    from segdino_deploy.predict import describe_failures, plan_jobs

    check_triton_options(context, triton, precision=precision, backend=backend, ray=ray)

    def open_runner() -> Runner:
        if triton is None:
            return open_engine(bundle, precision=precision, backend=backend)
        return open_triton_runner(bundle, triton, triton_model, triton_timeout, triton_header, triton_token, triton_ca)

    sources, _ = split_inputs(inputs)
    if sources:
        of_tiles = {"tile": tile, "overlap": overlap, "mask_format": mask_format}
        asked_mode = None if mode == "resize" else mode
        of_ray = {"ray": ray, "ray_actors": ray_actors, "ray_cpus": ray_cpus != 1, "ray_gpus": ray_gpus != 0}
        refuse_image_options(table=table, resume=resume, workers=workers, mode=asked_mode, **of_ray, **of_tiles)
        wanted = video_options(overlay, overlay_codec, mask_video, max_frames, every, fps, batch_size)
        with open_runner() as runner:
            predict_videos(runner, sources, Path(output), wanted, as_json)
        return
    refuse_video_options(
        overlay_codec=overlay_codec, mask_video=mask_video, max_frames=max_frames, every=every, fps=fps
    )
    options = FolderOptions(workers, batch_size, overlay)
    tiles = tile_options(mode, tile, overlap, mask_format, batch_size)
    if tiles is not None and ray is not None:
        raise InputError("--mode tile: runs on this machine; leave out --ray")
    cluster = ray_options(ray, ray_actors, ray_cpus, ray_gpus)
    with Progress() as progress, saying_how_to_go_on(progress, [*inputs, output]) as count:
        reports = Reports(count, Failures(progress), progress.note)
        if cluster is not None:
            chosen, plan, summary = run_on_ray(
                bundle, inputs, output, precision, backend, options, cluster, table, resume, reports
            )
            source_of, result_of = plan.source, plan.result
            heads, engine = chosen.bundle.manifest.model.heads, f"{chosen.words} on Ray"
        else:
            paths, folder, table_path = local_paths(inputs, output, table)
            with open_runner() as runner:
                heads = runner.card.heads
                progress.step("listing the images")
                jobs = plan_jobs(paths, folder, [head.name for head in heads], progress.note)
                source_of, result_of = jobs.source, jobs.result
                identity = engine_identity(bundle, runner.backend, runner.precision)
                aside, noted = aside_for(tiles, runner.card, overlay, progress.count)
                summary = predict_folder(
                    runner,
                    jobs,
                    options,
                    identity,
                    table=table_path,
                    resume=resume,
                    aside=aside,
                    more_options=noted,
                    reports=reports,
                )
                hint = hint_after(summary.listed, runner.card) if tiles is None else None
                if hint is not None:
                    progress.note(hint)
                engine = f"{runner.backend} {runner.precision} on {runner.device}"
    if as_json:
        print_summary_json(summary, engine, heads, source_of, result_of)
    else:
        print_summary(summary, engine, output, table, of_tiles=tiles is not None)
    if summary.failed:
        raise CheckFailed(describe_failures(summary.first_failure, summary.failed, summary.images))
