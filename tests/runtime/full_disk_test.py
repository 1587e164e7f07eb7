import errno

import pytest
import tensorflow as tf

from visem_tf.errors import UserError
from visem_tf.runtime.full_disk import report_full_disk
from visem_tf.runtime.workers import report_training_errors


def test_a_full_disk_is_no_lack_of_memory():
    error = tf.errors.ResourceExhaustedError(None, None, "/r/variables; No space left on device")
    for report in (report_full_disk(), report_training_errors(tf.distribute.get_strategy())):
        with pytest.raises(OSError, match="No space left on device") as raised, report:
            raise error
        assert raised.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match="No space") as raised, report_full_disk("/r"):
        raise error
    assert raised.value.filename == "/r"
    quota = tf.errors.UnknownError(None, None, "/r/variables; Disk quota exceeded")
    with pytest.raises(OSError, match="Disk quota exceeded") as raised, report_full_disk("/r"):
        raise quota
    assert raised.value.errno == errno.EDQUOT
    assert raised.value.filename == "/r"


def test_other_errors_stay():
    error = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
    with pytest.raises(tf.errors.ResourceExhaustedError), report_full_disk():
        raise error
    with (
        pytest.raises(UserError, match="out of memory"),
        report_training_errors(tf.distribute.get_strategy()),
    ):
        raise error
