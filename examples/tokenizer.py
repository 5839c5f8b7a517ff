"""The demo models' tokenizer: a byte-level BPE trained on the demo's own texts."""

from collections.abc import Iterable
from typing import Final

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

VOCABULARY: Final = 2_048
CONTEXT: Final = 512
_BOS: Final = "<s>"
_EOS: Final = "</s>"
_PAD: Final = "<pad>"

# Roles stand on lines of their own: a byte-level BPE then cuts the text behind
# them as it cuts the same words anywhere, without a token for "space at the start".
_CHAT_TEMPLATE: Final = """\
{{- bos_token -}}
{%- for message in messages -%}
  {%- if message.role == 'user' -%}
    {{- 'User:\\n' + message.content + '\\n' -}}
  {%- elif message.role == 'assistant' -%}
    {{- 'Assistant:\\n' + message.content + eos_token -}}
  {%- else -%}
    {{- raise_exception('this model knows the roles user and assistant only') -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- 'Assistant:\\n' -}}
{%- endif -%}
"""


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Train a BPE of `VOCABULARY` tokens that can write every byte.

    Encoding a text puts the start token before it, as Llama tokenizers do, and
    no end token behind it.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[_PAD, _BOS, _EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    bpe.post_processor = processors.TemplateProcessing(
        single=f"{_BOS} $A", special_tokens=[(_BOS, bpe.token_to_id(_BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=_BOS,
        eos_token=_EOS,
        pad_token=_PAD,
        model_max_length=CONTEXT,
        chat_template=_CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
