"""A command in this very process: what ``accelerate launch`` starts, once for each process.

``accelerate launch --config_file FILE -m skindiff.commands train lora --lora.rank 16`` is the long form of
``skindiff train lora --accelerate_config FILE --lora.rank 16``.
"""

import os
import sys

from skindiff.commands.launching import IN_PROCESS

if __name__ == "__main__":
    os.environ[IN_PROCESS] = "1"
    from skindiff.cli import main

    sys.exit(main(sys.argv[1:]))
