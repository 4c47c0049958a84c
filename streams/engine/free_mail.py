"""Mail providers that give an address to anybody: their domain says nothing about whom somebody works for."""

from __future__ import annotations

from typing import Final

FREE_MAIL: Final = frozenset(
    """
    gmail.com googlemail.com outlook.com hotmail.com hotmail.co.uk hotmail.fr hotmail.de hotmail.it
    hotmail.es live.com live.co.uk live.fr live.nl msn.com outlook.de outlook.fr outlook.es passport.com
    yahoo.com yahoo.co.uk yahoo.fr yahoo.de yahoo.es yahoo.it yahoo.ca yahoo.co.jp yahoo.co.in yahoo.com.br
    yahoo.com.au ymail.com rocketmail.com aol.com aol.co.uk aim.com icloud.com me.com mac.com gmx.de gmx.net
    gmx.at gmx.ch gmx.com web.de t-online.de freenet.de mail.de posteo.de mailbox.org proton.me
    protonmail.com pm.me tutanota.com tuta.io fastmail.com fastmail.fm hey.com zoho.com mail.com email.com
    usa.com mail.ru inbox.ru list.ru bk.ru internet.ru yandex.ru yandex.com ya.ru rambler.ru qq.com
    foxmail.com 163.com 126.com yeah.net sina.com sina.cn sohu.com aliyun.com 139.com 189.cn naver.com
    daum.net hanmail.net nate.com docomo.ne.jp ezweb.ne.jp softbank.ne.jp au.com nifty.com orange.fr
    wanadoo.fr free.fr laposte.net sfr.fr neuf.fr libero.it virgilio.it tiscali.it alice.it tin.it wp.pl
    o2.pl onet.pl interia.pl seznam.cz centrum.cz azet.sk abv.bg ukr.net sapo.pt telenet.be skynet.be
    ziggo.nl kpnmail.nl planet.nl home.nl bluewin.ch sunrise.ch telia.com bredband.net btinternet.com
    btopenworld.com sky.com talktalk.net virginmedia.com ntlworld.com blueyonder.co.uk comcast.net
    verizon.net att.net sbcglobal.net bellsouth.net cox.net charter.net earthlink.net shaw.ca rogers.com
    sympatico.ca bigpond.com optusnet.com.au uol.com.br bol.com.br terra.com.br ig.com.br rediffmail.com
    walla.co.il
    """.split()  # noqa: SIM905 - a list one name a line would hide that this is one thing
)
