"""Names for containers that were given none: an adjective and the surname of somebody who found something out."""

from __future__ import annotations

import os
from collections.abc import Container, Sequence

_ADJECTIVES = """
able agile alert amber ample apt ardent artful astute avid aware balmy blithe bold brave breezy bright brisk busy
calm candid careful caring cheerful chipper civil clever cordial cosmic cosy crisp curious dapper daring deft
devoted diligent dreamy eager earnest easy elated fair faithful fearless festive fond frank friendly gallant
generous gentle gifted glad graceful grateful handy happy hardy hearty helpful hopeful humble inventive jolly
jovial joyful keen kind lively logical loyal lucid lucky mellow merry mighty mindful modest nimble noble orderly
patient peaceful placid plucky poised polite proud punctual quick quiet radiant ready serene sharp sincere smart
snug sober spry steady sturdy sunny swift tender thankful thoughtful tidy tranquil trusting upbeat valiant vivid
warm wise witty zealous
""".split()  # noqa: SIM905 # eighty lines of quotes would hide the words

_SURNAMES = """
abel agnesi aiken alhazen ampere anning archimedes aryabhata audubon avicenna avogadro babbage babcock backus
bardeen bassi becquerel bell bernoulli bessel blackwell bohr boltzmann bolyai boole bose boyle brahe brahmagupta
brattain braun bunsen cannon cantor carnot carson cauchy cavendish celsius cerf chandrasekhar chatelet chebyshev
clausius cori coulomb crick curie cuvier dalton darwin davy dedekind descartes dijkstra diophantus dirac doppler
edison ehrlich einstein elion engelbart eratosthenes euclid euler faraday fermat fermi feynman fibonacci fisher
fleming fourier franklin fraunhofer fresnel galileo galois galvani gauss germain gibbs goeppert golgi goodall
haldane halley hamilton hamming harvey heisenberg helmholtz henry herschel hertz hilbert hipparchus hodgkin hooke
hopper hubble humboldt huygens hypatia jacobi jenner jenkins joliot joule kaplan keller kelvin kepler khayyam
khorana khwarizmi kilby knuth koch kovalevskaya lagrange lamarr lamport laplace lavoisier leakey leavitt legendre
leibniz levi linnaeus liskov lobachevsky lorentz lovelace lumiere lyell mach maathai malpighi marconi maxwell mayer
mcclintock meitner mendel mendeleev mercator michelson millikan minsky mirzakhani montalcini morse napier nash
newton nightingale nobel noether ohm oppenheimer oresme pascal pasteur pauli pauling payne peano perlman planck
poincare poisson priestley ptolemy pythagoras ramanujan rayleigh riemann ritchie roentgen rubin russell rutherford
sagan salk sanger schrodinger shannon shockley snell somerville stokes swartz tesla thales thompson thomson
torvalds turing volta watt wegener weierstrass wiles wing wozniak wright yalow yonath zeno zuse
""".split()  # noqa: SIM905 # eighty lines of quotes would hide the words

_TRIES = 8


def generate_name(taken: Container[str]) -> str:
    """A name such as ``gallant_mendeleev`` that is not in ``taken``.

    After a few tries a number is added, so there always is one.
    """
    name = ""
    for _ in range(_TRIES):
        name = f"{_any(_ADJECTIVES)}_{_any(_SURNAMES)}"
        if name not in taken:
            return name
    number = 1
    while f"{name}{number}" in taken:
        number += 1
    return f"{name}{number}"


def _any(words: Sequence[str]) -> str:
    return words[int.from_bytes(os.urandom(4), "big") % len(words)]
