"""A small scan of known values in a known place, written in every format that deskull reads."""

import h5py
import nibabel as nib
import nrrd
import numpy as np
import SimpleITK as sitk
from scipy.io import netcdf_file

SHAPE = (4, 5, 6)
HEAD = np.arange(120).reshape(SHAPE).astype("i2")
AFFINE = np.array([[-2.0, 0, 0, 40], [0, 1.5, 0, -30], [0, 0, 3, 10], [0, 0, 0, 1]])
LPS = np.diag([-1.0, -1, 1, 1]) @ AFFINE


def write_nifti(path, head=HEAD, affine=AFFINE, kind=nib.Nifti1Image):
    nib.save(kind(head, affine), path)
    return path


def write_mgh(path):
    image = nib.MGHImage(HEAD.astype("i2"), AFFINE)
    image.header["tr"], image.header["te"] = 2300, 3
    nib.save(image, path)
    return path


def write_analyze(path):
    image = nib.Spm2AnalyzeImage(HEAD, AFFINE)
    nib.save(image, path)
    return path


def write_nrrd(path, head=HEAD, **changes):
    header = {
        "space": "left-posterior-superior",
        "space directions": LPS[:3, :3].T,
        "space origin": LPS[:3, 3],
        "kinds": ["domain"] * 3,
        "encoding": "gzip",
    }
    header.update(changes)
    header = {name: value for name, value in header.items() if value is not None}
    nrrd.write(str(path), head, header, detached_header=path.suffix == ".nhdr")
    return path


def write_metaimage(path, head=HEAD):
    image = sitk.GetImageFromArray(head.T)
    image.SetSpacing([2, 1.5, 3])
    image.SetDirection((LPS[:3, :3] / [2, 1.5, 3]).ravel())
    image.SetOrigin(LPS[:3, 3])
    sitk.WriteImage(image, str(path), path.suffix == ".mha")
    return path


MINC_AXES = {"zspace": (3, 10), "yspace": (1.5, -30), "xspace": (-2, 40)}


def write_minc1(path, head=HEAD, frames=0):
    with netcdf_file(path, "w") as file:
        sizes = dict(zip(MINC_AXES, head.shape[::-1], strict=True))
        if frames:
            file.createDimension("time", frames)
        for axis, (step, start) in MINC_AXES.items():
            file.createDimension(axis, sizes[axis])
            variable = file.createVariable(axis, "i", ())
            variable.step, variable.start = float(step), float(start)
            variable.spacing = b"regular__"
        if frames:
            file.createVariable("time", "i", ()).spacing = b"regular__"
        dims = (("time",) if frames else ()) + tuple(MINC_AXES)
        image = file.createVariable("image", "h", dims)
        image.signtype, image.valid_range = b"signed__", np.array([0.0, 120])
        image[:] = np.stack([head.T + k for k in range(frames)]) if frames else head.T
        for name, value in (("image-max", 240.0), ("image-min", 0.0)):
            file.createVariable(name, "d", ()).data[...] = value
    return path


def write_minc2(path, head=HEAD):
    with h5py.File(path, "w") as file:
        for axis, (step, start) in MINC_AXES.items():
            variable = file.create_dataset(f"minc-2.0/dimensions/{axis}", data=0)
            variable.attrs["step"], variable.attrs["start"] = float(step), float(start)
        image = file.create_dataset("minc-2.0/image/0/image", data=np.ascontiguousarray(head.T))
        image.attrs["dimorder"] = np.bytes_(",".join(MINC_AXES))
        image.attrs["valid_range"] = np.array([0.0, 120])
        file["minc-2.0/image/0/image-max"] = 240.0
        file["minc-2.0/image/0/image-min"] = 0.0
    return path


WRITERS = {
    "scan.nii": write_nifti,
    "scan.nii.gz": write_nifti,
    "SCAN.NII.GZ": write_nifti,
    "scan.hdr": lambda path: write_nifti(path, kind=nib.Nifti1Pair),
    "scan.img": lambda path: write_nifti(path, kind=nib.Nifti1Pair),
    "scan.img.gz": lambda path: write_nifti(path, kind=nib.Nifti2Pair),
    "nifti2.nii": lambda path: write_nifti(path, kind=nib.Nifti2Image),
    "scan.mgh": write_mgh,
    "scan.mgz": write_mgh,
    "analyze.hdr": write_analyze,
    "analyze.img": write_analyze,
    "scan.nrrd": write_nrrd,
    "scan.nhdr": write_nrrd,
    "scan.mha": write_metaimage,
    "scan.mhd": write_metaimage,
}

META = "NDims = 3\nDimSize = 4 5 6\nElementType = MET_SHORT\n"
"""What a MetaImage header of the scan starts with."""
