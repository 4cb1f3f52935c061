//! `knarr.dataplane._native`: starts the data plane. No Python runs while it serves.

use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

create_exception!(_native, DataplaneFault, PyException, "The data plane cannot start or go on.");

/// Runs the data plane until SIGTERM or SIGINT, without the GIL.
#[pyfunction]
#[pyo3(signature = (config_json, /))]
fn run(python: Python<'_>, config_json: &[u8]) -> PyResult<()> {
    let config = config_json.to_vec();
    // Unwinding stops here: a panic must not cross into the interpreter.
    let outcome = python.detach(move || std::panic::catch_unwind(|| knarr_dataplane::run(&config)));
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(fault)) => Err(DataplaneFault::new_err(fault.to_string())),
        Err(_) => Err(DataplaneFault::new_err("the data plane panicked; its log says where")),
    }
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("DataplaneFault", module.py().get_type::<DataplaneFault>())?;
    module.add_function(wrap_pyfunction!(run, module)?)
}
