"""How pages and drawings are made of templates: what comes from users is escaped."""

import jinja2


def make_environment() -> jinja2.Environment:
    """Returns what reads the templates of this package; a value that is missing is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("visem_tf.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
